# @summary Applies a profile of cttune, now and after every reboot.
#
# It relies on the exit codes of cttune: `plan` ends with 0 where there is nothing to do and with 2
# where there are changes, so that a run without changes reports none, and `puppet agent --noop`
# says what would change. `apply` undoes whatever fails on the way and then ends with 1.
#
# @example
#   cttune::profile { 'campus-fw':
#     adopt => true,
#   }
#
# @param profile  the profile, by name or by its path on the host
# @param adopt    comment out lines of other files that override it at boot
# @param values   values beside the profile, by key
# @param wait     how long to wait for another cttune
# @param program  the program
define cttune::profile (
  String               $profile = $title,
  Boolean              $adopt   = false,
  Hash[String, Scalar] $values  = {},
  String               $wait    = '60s',
  String               $program = '/usr/bin/cttune',
) {
  $set = $values.map |$key, $value| { ['--set', "${key}=${value}"] }
  $adopts = $adopt ? { true => ['--adopt'], default => [] }
  $options = ['--profile', $profile] + $adopts + $set.flatten
  $quoted = ($options.map |$word| { shellquote($word) }).join(' ')

  exec { "cttune apply ${title}":
    command     => [$program, 'apply'] + $options + ['--yes', '--wait', $wait],
    # 0 is nothing to do; 2 is changes, or a plan that is blocked, which apply then explains.
    unless      => "${program} plan ${quoted} --quiet",
    environment => ['LC_ALL=C.UTF-8'],
    provider    => posix,
    logoutput   => on_failure,
  }
}

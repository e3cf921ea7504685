//! Programs that run a command in another network namespace, which has values of its own, or on
//! another machine. In doubt it may be here. Follows ip-netns(8), unshare(1), nsenter(1),
//! docker-run(1), systemd-nspawn(1), bwrap(1).

/// Options of `docker run` and `docker exec` without a value.
const SWITCHES: [&str; 21] = [
    "d",
    "detach",
    "disable-content-trust",
    "help",
    "i",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hosts",
    "oom-kill-disable",
    "P",
    "privileged",
    "publish-all",
    "q",
    "quiet",
    "read-only",
    "replace",
    "rm",
    "sig-proxy",
    "t",
    "tty",
];
/// Those of unshare and of nsenter with one.
const OF_UNSHARE: [&str; 15] = [
    "S",
    "setuid",
    "G",
    "setgid",
    "w",
    "wd",
    "R",
    "root",
    "propagation",
    "setgroups",
    "map-user",
    "map-group",
    "map-users",
    "monotonic",
    "boottime",
];
const OF_NSENTER: [&str; 6] = ["t", "target", "S", "setuid", "G", "setgid"];
/// Those of nsenter whose value may only be attached.
const ATTACHED: &str = "CTUimnpruw";

/// Whether the program runs what its words name where this machine's values do not count.
pub(super) fn is_elsewhere(program: &str, words: &[Option<&str>]) -> bool {
    let known = || words.iter().flatten();
    match program {
        "kubectl" | "lxc" | "lxc-attach" | "pct" | "ssh" => true,
        "ip" => known().take(4).any(|word| *word == "netns"),
        "unshare" => {
            let given = options(words, |name| OF_UNSHARE.contains(&name), "");
            let is_net = |(name, _): &Given<'_>| matches!(*name, "n" | "net");
            given.is_some_and(|(given, _)| given.iter().any(is_net))
        }
        "nsenter" => enters(words) == Some(false),
        "docker" | "podman" | "nerdctl" => is_own_container(words) == Some(true),
        "systemd-nspawn" => known().any(|word| {
            *word == "-n" || word.starts_with("--network-") || *word == "--private-network"
        }),
        "systemd-run" => known().any(|word| {
            word.contains("PrivateNetwork=yes") || word.contains("NetworkNamespacePath=")
        }),
        "bwrap" => known().any(|word| matches!(*word, "--unshare-net" | "--unshare-all")),
        _ => false,
    }
}

/// Whether nsenter stays in the first process's network; none where that cannot be known.
fn enters(words: &[Option<&str>]) -> Option<bool> {
    let (given, _) = options(words, |name| OF_NSENTER.contains(&name), ATTACHED)?;
    let find = |names: [&str; 2]| given.iter().rfind(|(name, _)| names.contains(name));
    let net = match (find(["n", "net"]), find(["a", "all"])) {
        (Some((_, file)), _) => *file,
        (None, Some(_)) => None,
        (None, None) => return Some(true),
    };
    match (net, find(["t", "target"])) {
        (Some(file), _) => Some(file == "/proc/1/ns/net" || file == "/proc/self/ns/net"),
        (None, Some((_, target))) => target.map(|target| target == "1"),
        (None, None) => None,
    }
}

/// Whether a container has a network of its own; none where that cannot be known.
fn is_own_container(words: &[Option<&str>]) -> Option<bool> {
    let (_, length) = options(words, is_of_client, "")?;
    let mut rest = &words[length..];
    if rest.first() == Some(&Some("container")) {
        rest = &rest[1..];
    }
    let (verb, rest) = rest.split_first()?;
    match (*verb)? {
        "run" | "create" => {
            let (given, _) = options(rest, |name| !SWITCHES.contains(&name), "")?;
            let mut nets = given
                .iter()
                .filter(|(name, _)| matches!(*name, "net" | "network"));
            match nets.next_back() {
                None => Some(true),
                Some((_, value)) => {
                    let value = (*value)?;
                    let may_be_ours = value.starts_with("container:") || value.starts_with("ns:");
                    (!may_be_ours).then_some(value != "host")
                }
            }
        }
        "exec" | "compose" => None,
        _ => Some(true),
    }
}

/// Options of the docker client itself with a value.
fn is_of_client(name: &str) -> bool {
    matches!(
        name,
        "H" | "host" | "c" | "context" | "config" | "l" | "log-level"
    )
}

/// An option without its dashes, and its value.
type Given<'a> = (&'a str, Option<&'a str>);

/// The options in front of the first other word, and how many words they are. Those that are
/// `attached` may have a value in the same word alone. None where a word is not known.
fn options<'a>(
    words: &[Option<&'a str>],
    takes_value: impl Fn(&str) -> bool,
    attached: &str,
) -> Option<(Vec<Given<'a>>, usize)> {
    let mut given = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let word = (*word)?;
        let Some(option) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            break;
        };
        at += 1;
        if option == "-" {
            break;
        }
        if let Some(long) = option.strip_prefix('-') {
            match long.split_once('=') {
                Some((name, value)) => given.push((name, Some(value))),
                None if takes_value(long) => {
                    given.push((long, words.get(at).copied().flatten()));
                    at += 1;
                }
                None => given.push((long, None)),
            }
            continue;
        }
        for (place, letter) in option.char_indices() {
            let end = place + letter.len_utf8();
            let (name, rest) = (&option[place..end], &option[end..]);
            let rest_is_value = takes_value(name) || attached.contains(letter);
            let value = Some(rest).filter(|rest| !rest.is_empty() && rest_is_value);
            if takes_value(name) && value.is_none() {
                given.push((name, words.get(at).copied().flatten()));
                at += 1;
            } else {
                given.push((name, value));
            }
            if rest_is_value {
                break;
            }
        }
    }
    Some((given, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_network_is_told_by_the_options() {
        for (line, expected) in [
            ("ip netns exec blue a", true),
            ("ip -all netns exec a", true),
            ("ip vrf exec blue a", false),
            ("ip link", false),
            ("unshare -n a", true),
            ("unshare -rn a", true),
            ("unshare --map-root-user --net a", true),
            ("unshare --net=/run/x a", true),
            ("unshare -m a -n", false),
            ("unshare -m -w /mnt/n a", false),
            ("unshare -R /n a", false),
            ("unshare --wd -n a", false),
            ("unshare ? a", false),
            ("nsenter -t 5 -n a", true),
            ("nsenter -t5 -n a", true),
            ("nsenter --target 5 --net a", true),
            ("nsenter -t 5 -a a", true),
            ("nsenter -n/run/netns/blue a", true),
            ("nsenter --net=/run/netns/blue a", true),
            ("nsenter -t 1 -m -u -n -i a", false),
            ("nsenter -a -t 1 a", false),
            ("nsenter --net=/proc/1/ns/net a", false),
            ("nsenter -t 5 -m a -n", false),
            ("nsenter -t ? -n a", false),
            ("docker run image a", true),
            ("docker run --rm -v /n:/n -it image a", true),
            ("docker run --net none image a", true),
            ("docker -H tcp://x run image a", true),
            ("docker container run image a --net=host", true),
            ("podman run --network=host image a", false),
            ("docker run --privileged --net=host image a", false),
            ("docker run -v /n:/n --net host image a", false),
            ("docker run --net=container:x image a", false),
            ("docker run ? image a", false),
            ("docker exec x a", false),
            ("docker exec --privileged -it x a", false),
            ("docker compose exec x a", false),
            ("docker pull image", true),
            ("ssh x a", true),
            ("pct exec 100 -- a", true),
            ("lxc exec x -- a", true),
            ("kubectl exec x -- a", true),
            ("systemd-nspawn -D /x a", false),
            ("systemd-nspawn --private-network -D /x a", true),
            ("systemd-run -p PrivateNetwork=yes a", true),
            ("bwrap --unshare-net a", true),
            ("flock -n /x a", false),
        ] {
            let words = line.split(' ').map(|word| (word != "?").then_some(word));
            let words: Vec<Option<&str>> = words.collect();
            let program = words[0].unwrap();
            assert_eq!(is_elsewhere(program, &words[1..]), expected, "{line}");
        }
    }
}

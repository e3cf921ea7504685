# bash completion for cttune: cttune itself says what can come next.
_cttune() {
  local cur=${COMP_WORDS[COMP_CWORD]} word file
  local -a words
  read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
  [[ ${COMP_LINE:0:COMP_POINT} != *[[:space:]] ]] || words+=("")
  # bash splits words at = and : too; what comes before the last one stays on the line.
  [[ $cur != [=:]* ]] || cur=
  local last=${words[${#words[@]} - 1]}
  local head=${last%"$cur"}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    if [[ $word == :files ]]; then
      compopt -o filenames
      while IFS= read -r file; do
        [[ -z $file ]] || COMPREPLY+=("$file")
      done <<<"$(compgen -f -- "$cur")"
    elif [[ -n $word ]]; then
      COMPREPLY+=("${word#"$head"}")
    fi
  done <<<"$("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)"
  [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace
}
complete -F _cttune cttune

#compdef cttune
# zsh completion for cttune: cttune itself says what can come next.
_cttune() {
  local line word about
  local -a whole told begun told_begun
  for line in ${(f)"$($words[1] complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)"}; do
    word=${line%%$'\t'*}
    about=$word
    [[ $line != *$'\t'* ]] || about+="  ${line#*$'\t'}"
    case $word in
    (:files) _files ;;
    (*=) begun+=("$word") told_begun+=("$about") ;;
    (*) whole+=("$word") told+=("$about") ;;
    esac
  done
  compadd -l -d told -a whole
  compadd -l -S '' -d told_begun -a begun
}
if [[ $funcstack[1] == _cttune ]]; then _cttune "$@"; else compdef _cttune cttune; fi

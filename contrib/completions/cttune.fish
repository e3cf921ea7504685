# fish completion for cttune: cttune itself says what can come next.
function __cttune_candidates
    set -l words (commandline -opc)
    for line in ($words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c cttune -f -a '(__cttune_candidates)'

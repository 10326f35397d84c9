"""What each shell has to be told."""

from __future__ import annotations

from typing import Final

_BASH: Final = """\
_hailbox() {
    local IFS=$'\\n'
    COMPREPLY=($(hailbox __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _hailbox hailbox
"""
_ZSH: Final = """\
#compdef hailbox
_hailbox() {
    local -a found
    found=("${(@f)$(hailbox __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" = "_hailbox" ]]; then _hailbox "$@"; else compdef _hailbox hailbox; fi
"""
_FISH: Final = """\
function __hailbox_complete
    set -l words (commandline -opc) (commandline -ct)
    hailbox __complete $words[2..-1] 2>/dev/null
end
complete -c hailbox -a '(__hailbox_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""By shell."""

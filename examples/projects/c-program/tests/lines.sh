# A last line without its newline is a line, and nothing is none.
set -eu
printf 'a\nb' | "$TALLY" | grep -q '^2 lines'
printf 'a\nb\n' | "$TALLY" | grep -q '^2 lines'
printf '' | "$TALLY" | grep -q '^0 lines'

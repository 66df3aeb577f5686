# Blanks separate words, however many there are.
set -eu
printf 'one  two\n' | "$TALLY" | grep -q ' 2 words$'
printf '  \n' | "$TALLY" | grep -q ' 0 words$'

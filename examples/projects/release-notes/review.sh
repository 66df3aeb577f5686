#!/bin/sh
# Judges NOTES.md by CHECKLIST.md, one line for each point, also in report.md. The exit status is 0 if all points pass.
failed=0
: > report.md

point() {
    if grep -Eq "$2" NOTES.md; then
        verdict=PASS
    else
        verdict=FAIL
        failed=1
    fi
    echo "$verdict: $1" | tee -a report.md
}

point "the heading is the version" '^# [0-9]+\.[0-9]+\.[0-9]+$'
point "what breaks is said" '^## Breaking changes$'
point "whoever is affected is told what to do" ' call `'
exit $failed

"""All that proves the managers, for as long as wanted: ``make soak ARGS="--minutes 60"``. Its last result is docs/soak.md."""

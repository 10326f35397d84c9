#!/bin/sh
# Tests of a program in shell: one stack, and a clean one for each test.
set -eu
export HAILBOX_STACK="${HAILBOX_STACK:-shell-$$}"
trap 'hailbox destroy --quiet' EXIT
hailbox up --profile fs --quiet
IWHD_URL=$(hailbox env --json | sed -n 's/^ *"IWHD_URL": "\(.*\)",*$/\1/p')

clean() {
    hailbox reset --quick --json | grep -q '"working": false' && exit 1
    return 0
}

status() {
    curl -sS -o /dev/null -w '%{http_code}' "$@"
}

test_a_body_comes_back() {
    status -X PUT "$IWHD_URL/images" >/dev/null
    [ "$(status -X PUT --data-binary body "$IWHD_URL/images/one")" = 201 ]
    [ "$(curl -sS "$IWHD_URL/images/one")" = body ]
}

test_a_new_warehouse_has_no_images() {
    [ "$(status "$IWHD_URL/images")" = 404 ]
}

for name in test_a_body_comes_back test_a_new_warehouse_has_no_images; do
    clean
    "$name"
    echo "ok $name"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes web/dist/page.html, the page that the command carries, from web/. Needs Node 20.19 or later
# with npm; the packages come from the registry once, by the committed lockfile.
set -euo pipefail
cd -- "$(dirname -- "$0")/../web"

fail() {
    echo "page.sh: $1" >&2
    exit 2
}

command -v node >/dev/null && command -v npm >/dev/null ||
    fail "Node 20.19 or later with npm is needed to make the page: apt-get install nodejs npm, or https://nodejs.org"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' ||
    fail "Node $(node --version) is too old: the page needs 20.19, 22.12 or later"

# npm leaves this file last: it is older than the lockfile when the packages are not the lockfile's.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --no-audit --no-fund --loglevel=error || fail "npm ci failed: are the registry and web/package-lock.json all right?"
    touch node_modules/.package-lock.json
fi
npm run --silent build || fail "the page was not built: the message is above"
[ -s dist/page.html ] || fail "the build left no web/dist/page.html"

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Set-up that ./start and ./check share; to be sourced, with $root and $me set. Every step is one
# line that says what it does and why; what it prints goes to $log, which a failure shows.

venv="$root/.venv"
log="$root/build/$me.log"

build_packages=(gcc libc6-dev pkg-config python3 python3-venv python3-dev
    libopenblas-dev libyaml-dev libjson-c-dev libmicrohttpd-dev zlib1g-dev)
check_packages=(g++ binutils libcmocka-dev libopenmpi-dev openmpi-bin dataset-fashion-mnist)

browser_packages=(chromium)

say() { printf '%s: %s\n' "$me" "$*"; }

# fail WHAT WHAT-TO-DO: the last lines of the log, then both.
fail() {
    [ -s "$log" ] && { echo "--- end of $log"; tail -n 25 -- "$log"; echo "---"; } >&2
    say "failed: $1" >&2
    say "what to do: $2" >&2
    exit 2
}

logged() {
    printf '\n$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null
}

open_log() {
    mkdir -p -- "$root/build" || { echo "$me: cannot write in $root" >&2; exit 2; }
    : >"$log"
    case $root in
    *[\'\"\\:]*) fail "the folder $root has a quote, colon or backslash in its path, which the build tools cannot bear" \
        "move the clone to a folder without one (spaces are fine)" ;;
    esac
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_packages WHY PACKAGE...
need_packages() {
    local why=$1 package missing=()
    shift
    if ! command -v dpkg-query >/dev/null; then
        say "system packages: not a Debian-like system, so yours to install: $*"
        return
    fi
    for package; do installed "$package" || missing+=("$package"); done
    if [ ${#missing[@]} -eq 0 ]; then
        say "system packages: all there ($why)"
        return
    fi
    local as_root=()
    local by_hand="apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || fail "missing system packages ($why), and no right to install them" \
            "run this as root, then ./$me again:  $by_hand"
        as_root=(sudo -n)
    fi
    say "system packages: installing ${missing[*]} ($why)"
    logged "${as_root[@]}" apt-get update ||
        say "apt-get update failed; going on with the package lists that are there"
    logged "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install ${missing[*]}" "run this as root and see:  $by_hand"
}

# The first Python that can build the extension: new enough, with venv and headers.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 /usr/bin/python3 \
        python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" - >>"$log" 2>&1 <<'PYTHON'; then
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
print(sys.executable, sys.version.split()[0], header, os.path.exists(header))
sys.exit(sys.version_info < (3, 11) or not os.path.exists(header))
PYTHON
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Scripts in a .venv hold its absolute path: one of a clone that was moved starts the old place's.
lies_here() {
    grep -qF -e "=$venv" -e "=\"$venv\"" -e "='$venv'" -- "$venv/bin/activate" 2>/dev/null
}

need_venv() {
    local python
    if lies_here &&
        "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say ".venv: there ($("$venv/bin/python" --version))"
        return
    fi
    python=$(find_python) || fail \
        "no Python of at least 3.11 with venv and Python.h among PYTHON, python3, python3.11 ... 3.14" \
        "install one (Debian 12 and Ubuntu 24.04 have it: python3 python3-venv python3-dev), or name it:  PYTHON=/path/to/python3 ./$me"
    say ".venv: making it with $python ($("$python" --version 2>&1)); tools and package stay inside the clone"
    rm -rf -- "$root/build/install" # it holds paths, too
    logged "$python" -m venv --clear -- "$venv" ||
        fail "$python -m venv could not make $venv" "see the lines above; on Debian install python3-venv"
}

# need_tools WHY FILE: what a requirements file pins, from PyPI. Its copy in .venv is the stamp.
need_tools() {
    local why=$1 file=$2
    local stamp="$venv/.backprobe-${file##*/}"
    if cmp -s -- "$file" "$stamp"; then
        say "tools: all there ($why)"
        return
    fi
    say "tools: installing those of tools/${file##*/} from PyPI ($why)"
    logged "$venv/bin/python" -m pip install --disable-pip-version-check -r "$file" ||
        fail "pip could not install the tools of tools/${file##*/}" \
            "check the network (or set PIP_INDEX_URL, PIP_FIND_LINKS or PIP_CERT as your site needs), then run ./$me again"
    cp -- "$file" "$stamp"
}

# A Node.js that can bundle the page, with npm, on the PATH: the system's, else PyPI's in .venv.
need_node() {
    if command -v npm >/dev/null && node - >>"$log" 2>&1 <<'NODE'; then
const [major, minor] = process.versions.node.split(".").map(Number);
console.log("Node.js", process.versions.node);
process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1);
NODE
        say "Node.js: there ($(node --version))"
        return
    fi
    need_tools "to bundle the page: Node.js; no npm with Node.js 20.19 or 22.12 at least is on the PATH" \
        "$root/tools/requirements-page.txt"
    export PATH="$venv/bin:$PATH"
}

# A hash over the files below these places of the clone that are not made by tools.
hash_of() {
    (
        cd -- "$root" || exit
        find "$@" -type f -not -name '*.pyc' -not -path 'web/node_modules/*' -not -path 'web/dist/*' -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum
}

# The page is bundled where its sources changed. Without it all works but what is looked at in a
# browser: ./start goes on and says so, ./check does not.
need_page() {
    local stamp="$root/web/dist/inputs" now
    now=$(hash_of web tools/page.sh)
    if [ -f "$root/web/dist/page.html" ] && [ "$(cat -- "$stamp" 2>/dev/null)" = "$now" ]; then
        say "page: bundled and up to date"
        return
    fi
    rm -f -- "$stamp"
    if need_node && say "page: bundling it (web/, with what its lockfile names from npm's registry)" &&
        logged "$root/tools/page.sh"; then
        printf '%s\n' "$now" >"$stamp"
        return
    fi
    return 1
}

# What drives the browser, by the committed lockfile; npm's own copy of it, left last, is the stamp.
need_browser_tools() {
    local folder="$root/tests/browser"
    if [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
        say "tools: all there (to drive the browser)"
        return
    fi
    need_node
    say "tools: installing those of tests/browser/package-lock.json from npm's registry (to drive the browser)"
    logged npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --fetch-retries=1 ||
        fail "npm could not install the tools of tests/browser" \
            "check the network (or set npm_config_registry as your site needs), then run ./$me again"
    touch -- "$folder/node_modules/.package-lock.json"
}

# A hash over all that the installed command and package are made of.
inputs() {
    "$venv/bin/python" --version
    pkg-config --modversion ompi-c 2>&1 # MPI that came later is built in
    hash_of src include python data tools meson.build meson.options pyproject.toml LICENSE
    cat -- "$root/web/dist/page.html" 2>/dev/null
}

need_backprobe() {
    local stamp="$venv/.backprobe-inputs" now
    now=$(inputs | sha256sum)
    if [ -f "$stamp" ] && [ "$(cat -- "$stamp")" = "$now" ] && [ -x "$venv/bin/backprobe" ]; then
        say "backprobe: installed and up to date"
        return
    fi
    say "backprobe: building and installing into .venv (command, Python package)"
    rm -f -- "$stamp"
    # --no-build-isolation: the pinned tools of .venv build it, nothing else is fetched.
    PATH="$venv/bin:$PATH" logged "$venv/bin/python" -m pip install --disable-pip-version-check \
        --no-build-isolation --no-deps --no-index --force-reinstall \
        --config-settings "build-dir=$root/build/install" "$root" ||
        fail "the build" "see the lines above; if a library is said to be missing, check that its -dev package is installed"
    logged "$venv/bin/backprobe" --version || fail "the installed command does not start" "see the lines above"
    (cd / && logged "$venv/bin/python" -c 'import backprobe; print(backprobe.__version__)') ||
        fail "the installed Python package cannot be imported" "see the lines above"
    printf '%s\n' "$now" >"$stamp"
}

set_up_page() {
    local advice="check the network (npm's registry; npm_config_registry and PIP_INDEX_URL name others), then run ./$me again"
    (need_page) && return
    [ "$me" = check ] && fail "the page could not be bundled" "$advice"
    tail -n 5 -- "$log" >&2
    if [ -f "$root/web/dist/page.html" ]; then
        say "page: it could not be bundled anew (above is why); the one from before stays"
    else
        say "page: it could not be bundled (above is why), so \`report\` and \`serve\` have none to show; all else works"
    fi
    say "what to do: $advice"
}

set_up() {
    open_log
    need_packages "compiler, Python headers, OpenBLAS, libyaml, json-c, libmicrohttpd, zlib" "${build_packages[@]}"
    need_venv
    need_tools "to build: Meson, ninja, meson-python" "$root/tools/requirements-build.txt"
    set_up_page
    need_backprobe
}

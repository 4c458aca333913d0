# shellcheck shell=bash
# Guests out of Debian's packages: functions for mkdemo and tests/guest/mkguests, which source this
# file with the folder to work in as the current directory.
#
# Nothing is installed. Packages are downloaded and unpacked with an apt of their own, whose lists
# and cache are in that folder, so that packages of other architectures need no change to the system
# and no root. debian_architectures, if set before, says which ones are wanted.

debian_sources=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
read -ra debian_architectures <<< "${debian_architectures:-amd64 i386}"
mkdir -p apt/state/lists/partial apt/cache/archives/partial packages
apt_options=(
    -o Dir::State="$PWD/apt/state" -o Dir::Cache="$PWD/apt/cache"
    -o Dir::State::status=/var/lib/dpkg/status
    "${debian_architectures[@]/#/-oAPT::Architectures::=}"
    -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3
)

# retry COMMAND...: mirrors are away now and then
retry() {
    local n
    for n in 1 2 3 4 5; do
        "$@" && return
        [ "$n" = 5 ] || sleep $((n * 5))
    done
    echo "$(basename "$0"): failed five times: $*: is there a network, and are Debian's package" \
        "sources in /etc/apt?" >&2
    return 1
}

# apt-get update's status says little: it may succeed without having reached a mirror, and fail for
# one list of many that nobody needs. Ask for packages that must be known afterwards.
get_lists() {
    local arch
    apt-get "${apt_options[@]}" -qq update ||
        echo "$(basename "$0"): going on with the lists there are" >&2
    for arch in "${debian_architectures[@]}"; do
        [ -n "$(apt-cache "${apt_options[@]}" show "busybox-static:$arch")" ] || return
    done
}

update_lists() {
    [ -e apt/updated ] && return
    retry get_lists || return
    touch apt/updated
}

# A version that the lists name but the mirrors have no more is missed once, and found by new lists.
download() {
    (cd packages && apt-get "${apt_options[@]}" -qq download "$1") && return
    get_lists
    return 1
}

# fetch PACKAGE FOLDER: unpacks a package there
fetch() {
    [ -e "$2/.have-$1" ] && return
    update_lists || return
    rm -f "packages/${1%%:*}"_*
    retry download "$1" || return
    mkdir -p "$2"
    dpkg-deb -x packages/"${1%%:*}"_*.deb "$2"
    touch "$2/.have-$1"
}

# kernel_package META: the package that a linux-image meta package stands for
kernel_package() {
    update_lists || return
    apt-cache "${apt_options[@]}" depends "$1" |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# make_linux NAME META ARCH GREETING: NAME/vmlinuz and NAME/initrd, which prints the text GREETING
# and becomes a shell on the console
make_linux() {
    local name=$1 meta=$2 arch=$3 greeting=$4 kernel root=$1/root
    local tree=debian-$arch
    [ "$name/initrd" -nt "$debian_sources/init" ] && [ -s "$name/vmlinuz" ] &&
        [ "$(cat "$root/etc/motd")" = "$greeting" ] && return
    if ! [ -e "$tree/vmlinuz" ]; then
        kernel=$(kernel_package "$meta:$arch")
        fetch "${kernel%%:*}:$arch" "$tree"
        cp "$tree"/boot/vmlinuz-* "$tree/vmlinuz"
    fi
    fetch "busybox-static:$arch" "$tree"
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp}
    cp "$tree/bin/busybox" "$root/bin/"
    cp "$debian_sources/init" "$root/init"
    chmod +x "$root/init"
    printf '%s\n' "$greeting" > "$root/etc/motd"
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -9) > "$name/initrd.new"
    cp "$tree/vmlinuz" "$name/vmlinuz"
    mv "$name/initrd.new" "$name/initrd"
}

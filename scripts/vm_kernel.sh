#!/bin/sh
# Fetch Debian's own kernel into .cache/vm, unpacked and never installed, for scripts/vmrun.py. Without an argument the
# one that the package linux-image-amd64 stands for. Exit 0 also when it is there already; 1 with the reason on stderr.
set -eu
cd "$(dirname "$0")/.."
target=.cache/vm
set -- "$target"/boot/vmlinuz-*
[ -e "$1" ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "the vm ring knows kernels of x86_64 only" >&2; exit 1; }
for tool in apt-get dpkg-deb depmod; do
  command -v "$tool" >/dev/null || { echo "no $tool on this machine" >&2; exit 1; }
done

mkdir -p .cache
work=$(mktemp -d .cache/vm.XXXXXX)
trap 'rm -rf "$work"' EXIT
package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/{print $2; exit}')
if [ -z "$package" ]; then
  apt-get update -qq
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/{print $2; exit}')
fi
[ -n "$package" ] || { echo "no package linux-image-amd64 in apt's lists" >&2; exit 1; }
# APT::Sandbox::User: the directory is root's alone.
(cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package") >&2 ||
  { echo "cannot download $package" >&2; exit 1; }
mkdir "$work/tree"
# Modules of hardware that an emulated machine does not have are four fifths of the package.
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -C "$work/tree" -x \
  --exclude='*/sound' --exclude='*/drivers/gpu' --exclude='*/drivers/media' --exclude='*/drivers/staging' \
  --exclude='*/drivers/infiniband' --exclude='*/drivers/scsi' --exclude='*/drivers/usb' --exclude='*/drivers/iio' \
  --exclude='*/drivers/hwmon' --exclude='*/drivers/input' --exclude='*/drivers/mmc' --exclude='*/drivers/ata' \
  --exclude='*/drivers/net/wireless' --exclude='*/drivers/net/ethernet' --exclude='*/drivers/isdn' \
  --exclude='*/drivers/edac' --exclude='*/drivers/mtd' --exclude='*/drivers/mfd' --exclude='*/drivers/md' \
  --exclude='*/kernel/fs/ocfs2' --exclude='*/kernel/fs/xfs' --exclude='*/kernel/fs/btrfs' --exclude='./usr/share/doc' \
  ./boot ./lib
for version in "$work"/tree/lib/modules/*; do depmod -b "$work/tree" "${version##*/}" 2>/dev/null; done
rm -rf "$target"
mv "$work/tree" "$target"

#!/bin/sh
# Set up this checkout: Debian packages (only those missing, only as root) and the virtual environment .venv.
# Runs again without harm; `make` calls it when pyproject.toml, the lock file or this script changed.
set -eu
cd "$(dirname "$0")/.."

# python3-venv: the environment. nftables, iproute2, iptables, ping: what tests look at the kernel with.
# docker.io (dockerd as the benchmark's peer, and a docker CLI), busybox-static, netavark, containernetworking-plugins:
# peers. firewalld, dbus: coexistence tests.
# etcd-server: the cluster's store, a child process of managers; etcd-client: tests look at it with etcdctl.
# qemu-system-x86, kmod: the machine of the vm ring; wireguard-tools: a witness.
# wireguard-go: encrypts where the kernel has no WireGuard.
# faketime: clocks that jump.
# systemd: systemd-analyze checks our units; it is not started.
packages="python3-venv nftables iproute2 iptables iputils-ping procps util-linux docker.io busybox-static netavark
  containernetworking-plugins firewalld dbus openssl systemd etcd-server etcd-client qemu-system-x86 kmod
  wireguard-go wireguard-tools faketime"
missing=""
if command -v dpkg-query >/dev/null 2>&1; then
  for package in $packages; do
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
      "install ok installed") ;;
      *) missing="$missing $package" ;;
    esac
  done
fi
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ]; then
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # The packages' services must not start here: tests start their own, in their own namespaces.
    policy=/usr/sbin/policy-rc.d
    created=""
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod 755 "$policy"; created=1; fi
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || { [ -z "$created" ] || rm -f "$policy"; exit 1; }
    [ -z "$created" ] || rm -f "$policy"
  else
    echo "not root, so not installed (tests that need them will fail and say so):$missing" >&2
  fi
fi

python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
# The launcher that pip writes imports `re`, a third of the command line's start, for a suffix that only Windows has.
sed -i -e '/^import re$/d' -e '/re\.sub(/d' .venv/bin/towline
.venv/bin/python -m compileall -q src

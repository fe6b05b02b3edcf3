#!/bin/sh
# Writes what compose.yaml takes from files, where it is not there yet: passwords, and the registry's address.
# The folder is yours alone; the files in it can be read by the users of the containers, whom they are mounted to.
set -eu
umask 022
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres-password grafana-password; do
    [ -s "$folder/$name" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/$name"
done
[ -s "$folder/registry.conf" ] || cat >"$folder/registry.conf" <<END
[registry]
host=postgres
user=fedaffect
dbname=fedaffect
password=$(cat "$folder/postgres-password")
END
# Filled in once there are a fleet and a key: see docs/guides/deploy.md.
for name in metrics-key fleet-authority.pem; do
    [ -e "$folder/$name" ] || : >"$folder/$name"
done

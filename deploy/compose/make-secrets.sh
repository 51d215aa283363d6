#!/bin/sh
# Makes the secrets of deploy/compose.yaml, each in a file. Those that are there already stay.
set -eu

folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"

secret() {
    [ -e "$folder/$1" ] || { umask 077; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$folder/$1"; }
}

secret administrator_password
secret owner_password
secret password
secret cache_key
# Containers see the files with their mode, and run as another user. The folder is closed to all others.
chmod 444 "$folder"/*

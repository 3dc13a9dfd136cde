#!/bin/sh
# Makes what the manifests need and nobody else may have, in a new folder:
#
#   sh examples/deploy/secrets.sh examples/deploy/kubernetes/secrets
#   sh examples/deploy/secrets.sh examples/deploy/compose/secrets
#
# An authority that signs one certificate for Dragonfly and is not kept, for 365 days (or
# DAYS); passwords, tokens, and the files with them that Dragonfly reads.
set -eu
dir=${1:?usage: secrets.sh FOLDER}
[ ! -e "$dir" ] || { echo "$dir is there already: to make new secrets, remove it" >&2; exit 1; }
umask 077
mkdir -p "$dir/dragonfly" "$dir/blog" # each is a Secret of Kubernetes
cd "$dir"

days=${DAYS:-365}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days "$days" \
	-subj '/CN=authority of the cache' -addext 'keyUsage=critical,keyCertSign' -keyout ca.key -out blog/ca.crt 2>openssl.log ||
	{ cat openssl.log >&2; exit 1; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days "$days" \
	-CA blog/ca.crt -CAkey ca.key -subj '/CN=dragonfly' -addext 'basicConstraints=critical,CA:FALSE' \
	-addext 'subjectAltName=DNS:dragonfly,DNS:dragonfly.cacheaside.svc,DNS:localhost' \
	-addext 'extendedKeyUsage=serverAuth' -keyout dragonfly/tls.key -out dragonfly/tls.crt 2>openssl.log ||
	{ cat openssl.log >&2; exit 1; }
rm ca.key openssl.log # with new certificates comes a new authority

password=$(openssl rand -hex 24)
printf '%s\n' "$password" >blog/password
openssl rand -hex 24 >blog/purge-token
openssl rand -hex 24 >blog/admin-token

# Dragonfly takes no comments in this file and no line of fewer than four words, and starts
# without it if it is wrong: then only the password below keeps others out.
cat >dragonfly/users.acl <<END
user default off resetkeys resetchannels -@all
user cacheaside on >$password resetkeys ~cacheaside:2:* resetchannels -@all +get +getrange +set +del +unlink +pexpire +pttl +lpush +ltrim +lrange +eval +evalsha +ping +info +multi +exec +client +cluster +readwrite
END
# Of the default user, who is off. With TLS Dragonfly does not start without one.
printf -- '--requirepass=%s\n' "$(openssl rand -hex 24)" >dragonfly/dragonfly.flags

# Compose mounts these files as they are, for users that are not the owner. The folder around
# them is closed to everybody else.
chmod 755 dragonfly blog
chmod 644 dragonfly/* blog/*

# Makes the database cluster on the first start, fills it, and becomes the server. A cluster appears under its name only
# when it is complete: a start that was cut off begins anew.
set -eu
umask 077

user="${POSTGRES_USER:-postgres}"
database="${POSTGRES_DB:-$user}"
new="$PGDATA.new"

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?the superuser of a new database needs one}"
    rm -rf "$new"
    mkdir -p "$new"
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    # Split into words on purpose: several options.
    # shellcheck disable=SC2086
    initdb --pgdata "$new" --username "$user" --pwfile /tmp/password ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/password
    printf 'host all all all scram-sha-256\n' >>"$new/pg_hba.conf"

    # Reached by its socket only, so that nobody meets half a database.
    pg_ctl --pgdata "$new" --options "-c listen_addresses='' -k /tmp" --wait start
    export PGHOST=/tmp PGUSER="$user" PGPASSWORD="$POSTGRES_PASSWORD"
    [ "$database" = postgres ] || createdb "$database"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$file" ] || psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$database" --file "$file"
    done
    unset PGHOST PGUSER PGPASSWORD
    pg_ctl --pgdata "$new" --mode fast --wait stop
    rmdir "$PGDATA" 2>/dev/null || true
    mv -T "$new" "$PGDATA"
fi
exec "$@"

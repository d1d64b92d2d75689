-- What a new database of Hwayo begins with: a role for the services, another for backups, and the table of submissions.
-- The passwords come from the container's environment.
\set app_password `printf %s "$APP_PASSWORD"`
\set backup_password `printf %s "$BACKUP_PASSWORD"`

create role hwayo_app login password :'app_password';
create role hwayo_backup login password :'backup_password';
grant pg_read_all_data to hwayo_backup;

create table submissions (
    id bigint generated always as identity primary key,
    received timestamptz not null default now()
);
grant select, insert on submissions to hwayo_app;

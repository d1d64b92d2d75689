#!/usr/bin/env bash
exec arkwright backup run archive "$@"

#!/usr/bin/env bash
exec "$(dirname "$0")/train.sh" bonsai "$@"

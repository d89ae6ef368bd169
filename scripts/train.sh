#!/usr/bin/env bash
# train.sh SCENE [OPTION...]: trains a Mip-NeRF 360 scene as it is evaluated.
# GS_DATA holds the scenes; STRATEGY picks the method; options count for more than the file.
set -euo pipefail
scene=${1:?expected the name of a scene, as in: train.sh garden --seed 1}
shift
config=$(dirname "$0")/../configs/mipnerf360/$scene.yml
exec gs-train --config "$config" ${STRATEGY:+--strategy "$STRATEGY"} "$@"

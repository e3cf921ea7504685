#!/bin/sh
# Writes a profile into an image while it is built: only files, no kernel is changed.
#
#   image.sh /mnt/image campus-fw
#
# Numbers that depend on memory or CPUs are those of the build host: set them, or apply the profile
# again at the first boot (user-data.yaml).
set -eu
image=$1 profile=$2
shift 2
cttune plan "$profile" --root "$image" "$@" || [ $? -eq 2 ]
cttune apply "$profile" --root "$image" --yes "$@"
# What the first boot of the image will set.
cttune check --root "$image"

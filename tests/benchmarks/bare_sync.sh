#!/bin/sh
# What a good engineer would write by hand for one release: fetch its tag into the cache, push it and the branch with leases.
# The branch's place in the mirror is remembered in the cache, as modsync remembers it in its database.
# Usage: bare_sync.sh CACHE SOURCE MIRROR TAG
set -eu
cd "$1"
exec 9>sync.lock
flock 9
tag=refs/tags/$4
git fetch --quiet --no-auto-gc --no-tags --no-write-fetch-head "$2" "$tag:$tag"
new=$(git rev-parse "$tag^{commit}")
old=$(cat ci-sync 2>/dev/null || true)
git push --quiet --atomic --force-with-lease="refs/heads/ci-sync:$old" --force-with-lease="$tag:" \
  "$3" "$new:refs/heads/ci-sync" "$tag"
echo "$new" >ci-sync

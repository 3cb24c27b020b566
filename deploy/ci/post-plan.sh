#!/bin/sh
# Plans a change and keeps the plan as one comment on its pull request.
#
#     post-plan.sh github|gitlab [arguments of hub plan…]
#
# In: what to plan, as `hub plan` takes it: `--dir . --snapshot fleet.snapshot` in a pipeline that cannot reach the hub, a branch in
# one that can. From the environment:
#   github (Gitea and Forgejo too)  GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN, PULL_REQUEST
#   gitlab                          CI_API_V4_URL, CI_PROJECT_ID, CI_MERGE_REQUEST_IID, GITLAB_TOKEN
# Out: the comment. Exit code 0: nothing stops the change; 1: the hub would hold it, it is wrong, or there is no plan.
# Never: puts a token on a command line; goes on as if all were well when the comment was not taken.
set -eu

forge=${1:?"say github or gitlab"}
shift

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
umask 077

code=0
hub plan "$@" -o markdown >"$scratch/plan.md" || code=$?
# What is no plan has said why on stderr.
[ -s "$scratch/plan.md" ] || exit 1

case $forge in
github)
    api=${GITHUB_API_URL:-https://api.github.com}/repos/${GITHUB_REPOSITORY:?}/issues
    comments=$api/${PULL_REQUEST:?"the number of the pull request"}/comments
    one=$api/comments
    update=PATCH
    printf 'Authorization: Bearer %s\n' "${GITHUB_TOKEN:?}" >"$scratch/headers"
    ;;
gitlab)
    comments=${CI_API_V4_URL:?}/projects/${CI_PROJECT_ID:?}/merge_requests/${CI_MERGE_REQUEST_IID:?}/notes
    one=$comments
    update=PUT
    printf 'PRIVATE-TOKEN: %s\n' "${GITLAB_TOKEN:?}" >"$scratch/headers"
    ;;
*)
    echo "there is no forge $forge; say github or gitlab" >&2
    exit 2
    ;;
esac
printf 'Content-Type: application/json\n' >>"$scratch/headers"

ask() {
    curl --silent --show-error --fail --max-time 60 -H "@$scratch/headers" "$@"
}

# The text as the one field of a JSON document.
{
    printf '{"body":"'
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$(printf '\t')/\\\\t/g" "$scratch/plan.md" |
        awk '{ printf "%s\\n", $0 }'
    printf '"}'
} >"$scratch/comment.json"

# The comment of an earlier run has the mark. GitHub writes a comment's own id behind its issue's address, GitLab before all else.
ask "$comments?per_page=100" >"$scratch/comments.json"
case $forge in
github) earlier=$(awk 'BEGIN { RS = "\"issue_url\"" } /!-- nave-plan --/ && match($0, /"id": *[0-9]+/) {
    id = substr($0, RSTART + 5, RLENGTH - 5); gsub(/[^0-9]/, "", id); print id; exit }' "$scratch/comments.json") ;;
gitlab) earlier=$(awk 'BEGIN { RS = "\"id\":" } /!-- nave-plan --/ && match($0, /^ *[0-9]+/) {
    id = substr($0, RSTART, RLENGTH); gsub(/[^0-9]/, "", id); print id; exit }' "$scratch/comments.json") ;;
esac

if [ -n "$earlier" ]; then
    ask -X "$update" --data-binary "@$scratch/comment.json" "$one/$earlier" >/dev/null
else
    ask -X POST --data-binary "@$scratch/comment.json" "$comments" >/dev/null
fi

case $code in
0 | 3) exit 0 ;;
*) exit 1 ;;
esac

#!/bin/sh
# Each hook of git, for agents and checks of a run; which one, says the name it is called by.
#
# It refuses what writes refs that are not the worker slot's own, notes what touches the user's other
# worktrees, and hands over to the hook of that name that git would run without us. Repositories
# that are not the user's are left alone.
#
#   AUTO_BUILD_GIT_COMMON_DIR  the git folder of the user's repository
#   AUTO_BUILD_GIT_DIR         the slot's own git folder
#   AUTO_BUILD_WORKER          the slot's number
#   AUTO_BUILD_EVIDENCE        the file in which a line is noted: worker, hook, git folder, detail
#   AUTO_BUILD_HOOK_DEPTH      how many hooks have called each other to get here
#
# Paths are compared by what they lead to (-ef), since a path may go through symbolic links.
set -u

hook=${0##*/}
here=${0%/*}
most_depth=16
most_chars=400
most_evidence_bytes=1000000

# Ask git as if we were not there: with our entry in its environment under a name of no meaning.
without_us() (
    entry=0
    while [ "$entry" -lt "${GIT_CONFIG_COUNT:-0}" ]; do
        eval "key=\${GIT_CONFIG_KEY_$entry-} value=\${GIT_CONFIG_VALUE_$entry-}"
        if [ "$key" = core.hooksPath ] && [ "$value" -ef "$here" ]; then
            export "GIT_CONFIG_KEY_$entry=auto-build.hidden"
        fi
        entry=$((entry + 1))
    done
    exec git "$@"
)

plain() {
    printf "%.${most_chars}s" "$1" | LC_ALL=C tr '[:cntrl:]' ' '
}

note() { # DETAIL
    file=${AUTO_BUILD_EVIDENCE:-}
    if [ -z "$file" ]; then
        return
    fi
    if [ -f "$file" ] && [ "$(wc -c < "$file")" -gt "$most_evidence_bytes" ]; then
        return
    fi
    line=$(printf '%s\t%s\t%s\t%s' \
        "${AUTO_BUILD_WORKER:-0}" "$hook" "$(plain "$git_dir")" "$(plain "$1")")
    { printf '%s\n' "$line" >> "$file"; } 2> /dev/null
}

refuse() { # FACT
    slot=
    if [ -r "${AUTO_BUILD_GIT_DIR:-}/gitdir" ]; then
        IFS= read -r slot < "$AUTO_BUILD_GIT_DIR/gitdir"
    fi
    printf 'auto-build: %s: commit on the detached HEAD of your own worktree%s, and leave %s\n' \
        "$1" "${slot:+ in ${slot%/.git}}" \
        'branches, tags, notes and the stash alone, which are shared with the user' >&2
    exit 1
}

is_own_place() {
    [ "$git_dir" -ef "${AUTO_BUILD_GIT_DIR:-}" ]
}

refuse_place() {
    refuse "this is another worktree ($git_dir), and not yours to change"
}

refuse_elsewhere() {
    is_own_place && return
    note "refused"
    refuse_place
}

# Refs that each worktree has for itself: HEAD and its like, and three folders.
require_own_refs() {
    while IFS=' ' read -r old new ref; do
        case $ref in
            refs/worktree/* | refs/bisect/* | refs/rewritten/*) own=yes ;;
            */*) own=no ;;
            *) own=yes ;;
        esac
        if ! is_own_place; then
            note "refused $ref"
            refuse_place
        fi
        if [ "$own" = no ]; then
            # A stash is dropped before its ref is: the refusal comes too late for it.
            [ "$ref" != refs/stash ] || note "refused $ref"
            refuse "$ref is not yours to write"
        fi
        refs="$refs$old $new $ref
"
    done
}

# The other end of a push is another git, which does not see our entry in its environment.
refuse_push_to_user() { # URL
    target=${1#file://}
    for folder in "$target" "$target.git"; do
        if [ ! -d "$folder" ]; then
            continue
        fi
        reached=$(
            unset $(git rev-parse --local-env-vars)
            git -C "$folder" rev-parse --path-format=absolute --git-common-dir 2> /dev/null
        )
        if [ "$reached" -ef "${AUTO_BUILD_GIT_COMMON_DIR:-}" ]; then
            refuse "$1 is the user's repository, and not yours to push to"
        fi
    done
}

places=$(without_us rev-parse --path-format=absolute --git-dir --git-common-dir --git-path hooks \
    2> /dev/null) || exit 0
{
    IFS= read -r git_dir
    IFS= read -r common_dir
    IFS= read -r theirs
} << END
$places
END
refs=

if [ "$hook" = pre-push ]; then
    refuse_push_to_user "${2-}"
fi
if [ "$common_dir" -ef "${AUTO_BUILD_GIT_COMMON_DIR:-}" ]; then
    case $hook in
        pre-push)
            refuse "a push is for the user to make"
            ;;
        reference-transaction)
            if [ "${1-}" = prepared ]; then
                require_own_refs
            fi
            ;;
        pre-commit | pre-merge-commit | pre-rebase | applypatch-msg)
            refuse_elsewhere
            ;;
        post-checkout | post-index-change | post-commit | post-merge | post-rewrite)
            is_own_place || note "$*"
            ;;
        pre-auto-gc)
            exit 1 # the user's repository is packed and pruned by the user
            ;;
    esac
fi

if [ "$theirs" -ef "$here" ]; then
    exit 0
fi
theirs=$theirs/$hook
if [ ! -f "$theirs" ] || [ ! -x "$theirs" ]; then
    exit 0
fi
AUTO_BUILD_HOOK_DEPTH=$((${AUTO_BUILD_HOOK_DEPTH:-0} + 1))
export AUTO_BUILD_HOOK_DEPTH
if [ "$AUTO_BUILD_HOOK_DEPTH" -gt "$most_depth" ]; then
    printf 'auto-build: hooks call each other more than %s deep: %s is not run\n' \
        "$most_depth" "$theirs" >&2
    exit 1
fi
if [ -n "$refs" ]; then
    printf '%s' "$refs" | "$theirs" "$@"
    exit
fi
exec "$theirs" "$@"

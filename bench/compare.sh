#!/bin/sh
# Builds the working tree and another commit and pairs the two in one run: the micro-benchmarks in alternating rounds
# through benchstat, then both binaries as dyups and dyups-old over the headline scenarios.
#
#     bench/compare.sh REF [options of dyupsbench]
#
# Wanted in the environment: GO, BENCHSTAT (module@version), MICRO (packages and patterns, see Makefile), HEADLINE.
# It leaves nothing behind: the commit is checked out in a temporary worktree.
set -eu
ref=$1
shift
go=${GO:-go}
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
tmp=$(mktemp -d)
trap 'git worktree remove --force "$tmp/old" 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP
git worktree add --quiet --detach "$tmp/old" "$ref"

CGO_ENABLED=0 $go build -trimpath -o bin/dyups ./cmd/dyups
CGO_ENABLED=0 $go build -trimpath -o bin/dyupsbench ./cmd/dyupsbench
(cd "$tmp/old" && CGO_ENABLED=0 $go build -trimpath -o "$tmp/dyups" ./cmd/dyups)

# Test programs are built once, and every round runs all of them, the old one and the new one by turns first.
echo "$MICRO" | while read -r package length pattern; do
	[ -n "$package" ] || continue
	$go test -c -o "$tmp/new-$package.test" "./$package"
	(cd "$tmp/old" && $go test -c -o "$tmp/old-$package.test" "./$package") ||
		echo "skipped $package: it has no benchmarks to compare at $ref"
done
for round in 1 2 3 4 5 6; do
	order="old new"
	[ $((round % 2)) = 0 ] || order="new old"
	echo "$MICRO" | while read -r package length pattern; do
		[ -n "$package" ] && [ -x "$tmp/old-$package.test" ] && [ -x "$tmp/new-$package.test" ] || continue
		for which in $order; do
			folder=$here/$package
			[ $which = new ] || folder=$tmp/old/$package
			(cd "$folder" && "$tmp/$which-$package.test" -test.run '^$' -test.count 1 -test.benchmem \
				-test.benchtime "$length" -test.bench "$pattern") >>"$tmp/$which.txt"
		done
	done
	echo "micro-benchmarks: round $round of 6"
done
(cd "$tmp" && $go run "$BENCHSTAT" old.txt new.txt)

bin/dyupsbench -scenario "$HEADLINE" -proxies dyups -dyups bin/dyups -dyups2 "$tmp/dyups" "$@"

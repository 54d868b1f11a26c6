#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On the client: a request from each of its two addresses, and which region answered.
set -euo pipefail
for address in 53.0.0.10 28.0.0.10; do
	printf '%-12s -> ' "$address"
	curl -sS --max-time 2 --interface "$address" http://198.51.100.10/whoami
done

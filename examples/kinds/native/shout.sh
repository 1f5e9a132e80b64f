#!/bin/sh
# A program that is run once for each activation: arguments in $1, the last line is the
# result. wsk action create shout shout.sh --native
echo "asked for $1"
echo "$1" | tr '[:lower:]' '[:upper:]'

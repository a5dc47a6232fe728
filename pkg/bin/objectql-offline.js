#!/usr/bin/env node
// A file of its own, as npm links it at install time, when `dist` is not there yet in this repository.
import '../dist/generate/cli.js';

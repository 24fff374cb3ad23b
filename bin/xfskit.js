#!/usr/bin/env node
// This file and node.js run on any Node since 12, so that a user of an old one is told.
const { tooOld } = require('./node.js')

const complaint = tooOld(process.versions.node)
if (complaint) {
  console.error(complaint)
  process.exitCode = 3
} else {
  require('./start.js')
}

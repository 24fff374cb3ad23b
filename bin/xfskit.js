#!/usr/bin/env node
const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const { load } = require('./load.js')

const program = join(__dirname, '../dist/xfskit.cjs')
const debug = process.env.XFSKIT_DEBUG === '1'
if (debug) process.setSourceMapsEnabled(true)
const compiled = !debug && existsSync(`${program}.cache`) ? readFileSync(`${program}.cache`) : undefined
const { main } = compiled ? load(program, compiled).exports : require(program)
main().then((status) => {
  process.exitCode = status
})

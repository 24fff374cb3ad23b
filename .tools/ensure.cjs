// What every script of package.json needs first: a Node that is new enough, and the dependencies. It runs on any Node since 12.
const { tooOld } = require('../bin/node.js')

const complaint = tooOld(process.versions.node)
if (complaint) {
  console.error(complaint)
  process.exitCode = 3
} else {
  require('./dependencies.cjs')
}

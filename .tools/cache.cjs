// Compile the bundle, run what every start runs, and keep what V8 made of it. usage: cache.cjs BUNDLE CACHE
const { writeFileSync } = require('node:fs')
const { load } = require('../bin/load.js')

const [, , bundle, cache] = process.argv
const { script, exports: program } = load(bundle)
const words = [['--help'], ['info', '--help'], ['mkfs', '-N', '--size', '64m', `${cache}.none`]]
words
  .reduce((before, args) => before.then(() => program.main(args, 'xfskit')), Promise.resolve())
  .then(() => writeFileSync(cache, script.createCachedData()))

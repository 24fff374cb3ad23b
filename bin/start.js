const { existsSync, readFileSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { load } = require('./load.js')

const root = dirname(__dirname)
const program = join(root, 'dist', 'xfskit.cjs')

if (existsSync(program)) {
  const debug = process.env.XFSKIT_DEBUG === '1'
  if (debug) process.setSourceMapsEnabled(true)
  const compiled = !debug && existsSync(`${program}.cache`) ? readFileSync(`${program}.cache`) : undefined
  const { main } = compiled ? load(program, compiled).exports : require(program)
  main().then((status) => {
    process.exitCode = status
  })
} else {
  console.error(`xfskit is not built yet: run \`npm ci && npm run build\` in ${root}`)
  process.exitCode = 3
}

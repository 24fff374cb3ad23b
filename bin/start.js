const { existsSync } = require('node:fs')
const { dirname, join } = require('node:path')

const root = dirname(__dirname)
const program = join(root, 'dist', 'xfskit.cjs')

if (existsSync(program)) start()
else {
  const remedy = existsSync(join(root, '.tools'))
    ? `run \`npm ci && npm run build\` in ${root}`
    : 'install what `npm pack` makes of a clone'
  console.error(`xfskit is not built yet: ${remedy}`)
  process.exitCode = 3
}

/** With XFSKIT_DEBUG=1 as `require` does it, which the source map of the program needs. */
function start() {
  const debug = process.env.XFSKIT_DEBUG === '1'
  if (debug) process.setSourceMapsEnabled(true)
  const { main } = debug ? require(program) : require('./compiled.js').load(program)
  main().then((status) => {
    process.exitCode = status
  })
}

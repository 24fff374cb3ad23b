// Install the dependencies where they are missing or not those of package-lock.json.
const { spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { dirname, join } = require('node:path')

const root = dirname(__dirname)

const wanted = packages('package-lock.json')
const installed = packages(join('node_modules', '.package-lock.json'))
const missing = Object.keys(wanted).filter(
  (path) => path !== '' && needed(wanted[path]) && installed[path]?.version !== wanted[path].version,
)
if (missing.length > 0) install()

function packages(lock) {
  try {
    return JSON.parse(readFileSync(join(root, lock), 'utf8')).packages
  } catch {
    return {}
  }
}

/**
 * The program runs without its optional packages. Those of the tools are their native binaries, one for each system; which
 * of the two libcs of Linux this is, they find out themselves.
 */
function needed({ optional, dev, os, cpu, libc }) {
  if (!optional) return true
  return dev && !libc && (!os || os.includes(process.platform)) && (!cpu || cpu.includes(process.arch))
}

/** By the npm that runs this, but without what it was told: `--global` or `--omit=dev` are not meant for this. */
function install() {
  console.error('xfskit: installing dependencies (npm ci)')
  const words = [
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-global',
    '--include=dev',
    '--include=optional',
  ]
  const npm = process.env.npm_execpath
  const { status } = spawnSync(npm ? process.execPath : 'npm', npm ? [npm, ...words] : words, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: !npm && process.platform === 'win32',
  })
  process.exitCode = status ?? 1
}

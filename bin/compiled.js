const fs = require('node:fs')
const { createRequire } = require('node:module')
const { homedir } = require('node:os')
const { dirname, isAbsolute, join } = require('node:path')
const { Script } = require('node:vm')
const { crc32 } = require('node:zlib')

/**
 * Load a CommonJS file as `require` does, from V8's compiled form of it: most of the time that a program of this size takes to
 * start is parsing. The first run leaves it in the user's cache folder; without such a folder every run compiles.
 * (module.enableCompileCache does this from Node 22 on.)
 * @returns what the file exports
 */
exports.load = (file) => {
  const text = fs.readFileSync(file)
  const cache = cacheFile(file)
  const cachedData = cache && attempt(() => read(cache, text))
  const source = `(function (exports, require, module, __filename) {${text.toString('latin1')}\n})`
  const script = new Script(source, { filename: file, cachedData })
  // V8 rejects what another build of it made, or with other options.
  if (cache && (!cachedData || script.cachedDataRejected)) {
    process.once('exit', () => attempt(() => write(cache, text, script.createCachedData())))
  }
  const module = { exports: {} }
  script.runInThisContext()(module.exports, createRequire(file), module, file)
  return module.exports
}

/** Nothing that concerns the cache may fail or delay the program. */
function attempt(action) {
  try {
    return action()
  } catch {
    return undefined
  }
}

/** A file for each place where the program is installed and each Node that runs it: a newer program replaces its own. */
function cacheFile(file) {
  if (process.env.NODE_DISABLE_COMPILE_CACHE === '1') return undefined
  const name = `${process.version}-${process.arch}-${crc32(file).toString(16).padStart(8, '0')}.bin`
  return attempt(() => join(ownFolder(join(cacheHome(), 'xfskit')), name))
}

function cacheHome() {
  const { LOCALAPPDATA, XDG_CACHE_HOME } = process.env
  if (XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME
  if (process.platform === 'win32' && LOCALAPPDATA) return LOCALAPPDATA
  return join(homedir(), process.platform === 'darwin' ? 'Library/Caches' : '.cache')
}

/**
 * A user who can write into the folder can run code as this user: it has to belong to the user and be writable by no one else.
 * It is made only below a folder of the user: under sudo a cache in another user's home is neither used nor made.
 */
function ownFolder(path) {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false })
  if (!stat) {
    makeFolder(path)
    return path
  }
  if (!stat.isDirectory() || !onlyOurs(stat)) throw new Error('not of this user alone')
  return path
}

function makeFolder(path) {
  const above = dirname(path)
  const stat = fs.statSync(above, { throwIfNoEntry: false })
  if (!stat) makeFolder(above)
  else if (!ours(stat)) throw new Error('not of this user')
  fs.mkdirSync(path, { mode: 0o700 })
}

// Windows has neither; its cache folder is the user's own.
const ours = ({ uid }) => !process.geteuid || uid === process.geteuid()
const onlyOurs = (stat) => !process.geteuid || (ours(stat) && (stat.mode & 0o022) === 0)

/** The file: CRC32 of the program (V8 compares no more than its length), CRC32 of the rest, what V8 made. */
const HEADER = 8

function read(cache, text) {
  const fd = fs.openSync(cache, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW || 0))
  try {
    const stat = fs.fstatSync(fd)
    if (!stat.isFile() || !onlyOurs(stat)) return undefined
    const bytes = fs.readFileSync(fd)
    const data = bytes.subarray(HEADER)
    return bytes.readUInt32LE(0) === crc32(text) && bytes.readUInt32LE(4) === crc32(data) ? data : undefined
  } finally {
    fs.closeSync(fd)
  }
}

/** By another name first: a run beside this one reads it whole or not at all. */
function write(cache, text, data) {
  const header = Buffer.alloc(HEADER)
  header.writeUInt32LE(crc32(text), 0)
  header.writeUInt32LE(crc32(data), 4)
  const temporary = `${cache}.${process.pid}`
  try {
    fs.writeFileSync(temporary, Buffer.concat([header, data]), { flag: 'wx', mode: 0o600 })
    fs.renameSync(temporary, cache)
  } catch {
    fs.rmSync(temporary, { force: true })
  }
}

const { readFileSync } = require('node:fs')
const { createRequire } = require('node:module')
const { Script } = require('node:vm')

/**
 * Load a CommonJS file as `require` does, from V8's compiled form of it where that was made by this version of Node: most of the time that a
 * program of this size takes to start is parsing.
 */
exports.load = (file, cachedData) => {
  const source = `(function (exports, require, module, __filename) {${readFileSync(file, 'latin1')}\n})`
  const script = new Script(source, { filename: file, cachedData })
  const module = { exports: {} }
  script.runInThisContext()(module.exports, createRequire(file), module, file)
  return { script, exports: module.exports }
}

// Plain JavaScript, with require.
const assert = require('node:assert/strict')
const { mkfs, XfsImage } = require('xfskit')
const { memoryDevice } = require('xfskit/device')
const { structures } = require('xfskit/format')
const { version } = require('xfskit/package.json')

const device = memoryDevice(64 * 2 ** 20)
mkfs(device).then(() => {
  const image = XfsImage.open(device, { write: true })
  image.writeFile('/motd', 'welcome\n')
  assert.equal(image.readFile('/motd', 'utf8'), 'welcome\n')
  assert.deepEqual(image.check().findings.list, [])
  image.close()
  assert.ok(structures.has('agf'))
  assert.match(version, /^\d+\./)
  console.log('done')
})

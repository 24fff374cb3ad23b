import assert from 'node:assert/strict'
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { mkfs, type PutName, XfsImage } from '../../src/index.ts'
import { tempDir } from '../support/temp.ts'

/** `put` reports every name: the same as what is in the image afterwards. */
const LARGE = 3 * 2 ** 20

function makeTree(): string {
  const top = join(tempDir(), 'tree')
  mkdirSync(join(top, 'd', 'below'), { recursive: true })
  writeFileSync(join(top, 'small'), 'text')
  writeFileSync(join(top, 'd', 'empty'), '')
  writeFileSync(join(top, 'd', 'below', 'large'), Buffer.alloc(LARGE, 'x'))
  linkSync(join(top, 'small'), join(top, 'd', 'second'))
  symlinkSync('small', join(top, 'link'))
  return top
}

async function withImage(use: (image: XfsImage) => Promise<void>, size = 64 * 2 ** 20): Promise<void> {
  const device = memoryDevice(size)
  await mkfs(device)
  const image = XfsImage.open(device, { write: true })
  await use(image)
  assert.deepEqual(image.check().findings.list, [])
}

/** Everything below the root, with hard links as the files that they are. */
const contents = (image: XfsImage): string[] =>
  Array.from(image.walk('/'), (file) => {
    const { type, size } = file.stat().xfs
    return `/${Buffer.from(file.path)} ${type}${type === 'regular file' ? ` ${size}` : ''}`
  }).slice(1)

const text = ({ path, action, type, size }: PutName): string =>
  `${action} ${Buffer.from(path)} ${type}${size === undefined ? '' : ` ${size}`}`

const putting = async (
  image: XfsImage,
  ...[from, to, options]: Parameters<XfsImage['put']>
): Promise<{ names: string[]; problems: number }> => {
  const names: string[] = []
  const { problemCount } = await image.put(from, to, { ...options, onPut: (name) => names.push(text(name)) })
  return { names: names.sort(), problems: problemCount }
}

test('new names, then the same again', () =>
  withImage(async (image) => {
    const top = makeTree()
    const { names } = await putting(image, top, '/')
    const created = contents(image).map((line) => `create ${line}`)
    // The first name of a file is the file, the others are hard links.
    const links = names.filter((name) => name.endsWith('hard link'))
    assert.equal(links.length, 1)
    const linked = links[0]?.split(' ')[1] as string
    assert.deepEqual(names, created.map((line) => (line.includes(`${linked} `) ? (links[0] as string) : line)).sort())
    assert.ok(names.includes(`create /tree/d/below/large regular file ${LARGE}`))

    const again = await putting(image, `${top}/.`, '/tree')
    const merged = ['/tree', '/tree/d', '/tree/d/below'].map((path) => `merge ${path} directory`)
    assert.deepEqual(
      again.names.filter((name) => name.startsWith('merge')),
      merged,
    )
    assert.equal(again.names.filter((name) => name.startsWith('replace')).length, names.length - merged.length)
  }))

test('archives', () =>
  withImage(async (image) => {
    const top = makeTree()
    const first = await putting(image, top, '/')
    const archive = join(tempDir(), 'a.tar')
    await image.get('/tree', archive, { tar: true })
    await image.rm('/tree', { recursive: true })
    image.mkdir('/into')
    const { names } = await putting(image, archive, '/into', { tar: true })
    assert.deepEqual(
      names.map((name) => name.replace('/into', '').replace(/d\/second .*|small .*/, 'linked')),
      first.names.map((name) => name.replace(/d\/second .*|small .*/, 'linked')),
    )
  }))

test('what is left out is a problem, and no name', () =>
  withImage(async (image) => {
    const top = makeTree()
    image.mkdir('/tree/small', { recursive: true })
    image.writeFile('/tree/d', 'a file')
    const { names, problems } = await putting(image, top, '/')
    assert.deepEqual(
      names.filter((name) => /\/d\b/.test(name)),
      [],
    )
    assert.equal(problems, 2)
    assert.deepEqual(names, ['create /tree/link symbolic link', 'merge /tree directory'])
    rmSync(top, { recursive: true })
  }))

test('files that do not fit are left out', () =>
  withImage(
    async (image) => {
      const top = join(tempDir(), 'tree')
      mkdirSync(top)
      for (let i = 0; i < 12; i++) writeFileSync(join(top, `large${i}`), Buffer.alloc(LARGE, 'x'))
      const { names, problems } = await putting(image, top, '/')
      assert.ok(problems > 0)
      assert.deepEqual(
        names,
        contents(image)
          .map((line) => `create ${line}`)
          .sort(),
      )
    },
    32 * 2 ** 20,
  ))

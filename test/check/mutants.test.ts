import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { XfsError } from '../../src/errors.ts'
import { type Change, damage, type Place, verbs } from '../repair/victims.ts'
import { mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import type { Image } from './image.ts'
import { kinds, makeNames, namePlaces } from './names.ts'

/**
 * One field of a directory, an attribute or a symbolic link is changed, with a correct checksum.
 * Check finds it, unless nothing else in the image determines the value of the field. xfs_repair
 * does not find mutants that check does not find; the first of similar ones is also mounted. In a
 * long run xfs_repair also examines the first of similar mutants that check finds.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'

/** In a short run: one mutant of this number. */
const SAMPLE = 60

/** Fields whose value nothing else determines, within the valid range. */
const unknowable: readonly (readonly [field: RegExp, why: string])[] = [
  [/\blsn$/, 'any that is not after the head of the log'],
  [/^a\.sfattr\.list\[\d+\]\.name$/, 'another name; leaves have a hash of it'],
  [/^u3\.sfdir3\.list\[\d+\]\.name$/, 'another name, where there are no parent pointers'],
  [/^a\.sfattr\.list\[\d+\]\.value$|^nvlist\[\d+\]\.value$|^data$/, 'content, of attributes and symbolic links'],
  [/^u3\.symlink$/, 'another target'],
  [/^nvlist\[\d+\]\.valuelen$/, 'values end on a multiple of 4 bytes'],
  [/^(entries|a\.sfattr\.list)\[\d+\]\.(root|secure)$/, 'another namespace; the hash is of the name alone'],
  [/^entries\[\d+\]\.incomplete$/, 'a change that was stopped; the attribute is not there'],
  [/^hdr\.holes$/, 'the leaf is compacted once more than it needs'],
  [/^hdr\.freemap\[\d+\]\.base$/, 'of a slot without bytes'],
  [/^u3\.sfdir3\.list\[\d+\]\.offset$/, 'any that leaves the order of the entries'],
]
const isUnknowable = ({ what }: Place): boolean =>
  unknowable.some(([field]) => field.test(what.slice(what.lastIndexOf(' ') + 1)))

/** A place without file names, block numbers and indexes: one place represents all similar ones. */
const kindOf = ({ what }: Place): string => what.replace(/^\/\S+( \S+)*? (?=\S+( \d+)? \S+$)/, '').replace(/\d+/g, '')

interface Mutant {
  readonly place: Place
  readonly name: string
  readonly change: Change
}

function mutantsOf(image: Image, seed: number): Mutant[] {
  const { int } = random(seed)
  const anything: Change = (_, all) => BigInt.asUintN(128, (BigInt(int(2 ** 32)) << 96n) | (BigInt(int(2 ** 32)) << 64n) | (BigInt(int(2 ** 32)) << 32n) | BigInt(int(2 ** 32))) & all // biome-ignore format: one line
  const changes = [
    ['zero', verbs.zero],
    ['ones', verbs.ones],
    ['plus 1', verbs['plus 1']],
    ['flip the first bit', verbs['flip the first bit']],
    ['random', anything],
  ] as const
  return namePlaces(image).flatMap((place) => changes.map(([name, change]) => ({ place, name, change })))
}

/** Does check find anything? */
function isFound(image: Image): boolean {
  try {
    return image.check().findings.total > 0
  } catch (error) {
    if (error instanceof XfsError) return true
    throw error
  }
}

/** Read every name, attribute and target. @returns the kernel's complaint about the image */
function kernelComplaints(image: string): string | undefined {
  const commands: readonly (readonly [string, ...string[]])[] = [
    ['ls', '-lR'],
    ['getfattr', '-h', '-R', '-d', '-m', '-'],
    ['find', '-type', 'l', '-printf', '%l\n'],
  ]
  try {
    return mountImage(
      image,
      (folder) => {
        for (const [command, ...words] of commands) {
          const args = command === 'find' ? [folder, ...words] : [...words, folder]
          const { status, stderr } = spawnSync(command, args, { encoding: 'latin1', maxBuffer: 2 ** 28 })
          if (status !== 0) return `${command}: ${stderr}`
        }
        return undefined
      },
      { options: 'ro' },
    )
  } catch (error) {
    return String(error)
  }
}

for (const kind of kinds) {
  test(`a wrong field of a name is found: ${kind}`, { timeout: 0 }, (t) => {
    const image = makeNames(kind)
    assert.deepEqual(image.check().findings.list, [])
    const { chance } = random(8)
    const counts = { mutants: 0, found: 0, silent: 0, judged: 0, xfs_repair: 0, mounted: 0 }
    const missed: string[] = []
    const judged = new Set<string>()
    withTempDir((folder) => {
      const file = join(folder, 'image')
      writeFileSync(file, image.bytes)
      const fd = openSync(file, 'r+')
      for (const { place, name, change } of mutantsOf(image, 9)) {
        if (!LONG && !chance(1 / SAMPLE)) continue
        const { position, length } = place
        const before = image.bytes.slice(position, position + length)
        if (!damage(image.device, place, change, place.at !== place.crc)) continue
        counts.mutants++
        const found = isFound(image)
        const what = `${place.what}: ${name}`
        if (found) counts.found++
        else {
          counts.silent++
          if (!isUnknowable(place)) missed.push(what)
        }
        const alike = `${kindOf(place)} ${name} ${found}`
        const first = !judged.has(alike)
        judged.add(alike)
        if (skip.newest === false && (!found || (LONG && first))) {
          writeSync(fd, image.bytes, position, length, position)
          counts.judged++
          const complaint = repairComplaints(file)
          if (complaint !== undefined) counts.xfs_repair++
          if (complaint !== undefined && !found) missed.push(`${what}: ${complaint}`)
          if (LONG && first && !found && skip.kernel === false) {
            counts.mounted++
            const refusal = kernelComplaints(file)
            if (refusal !== undefined) missed.push(`${what}: the kernel: ${refusal}`)
          }
          writeSync(fd, before, 0, length, position)
        }
        image.bytes.set(before, position)
      }
      closeSync(fd)
    })
    t.diagnostic(JSON.stringify(counts))
    assert.ok(counts.found > 0 && counts.silent > 0)
    assert.deepEqual(missed, [])
  })
}

test('the parts of a target outside of its inode follow one another, without a zero byte', () => {
  const image = makeNames('1 KiB, no parent pointers')
  const places = namePlaces(image)
  const link = (field: string): Place => {
    const place = places.find(({ what }) => what === `/long link symlink 0 ${field}`)
    assert.ok(place, field)
    return place
  }
  for (const [field, verb, reason] of [
    ['offset', 'plus 1', 'the target continues at 1, expected 0'],
    ['data', 'zero', 'a zero byte in its target'],
  ] as const) {
    const before = image.bytes.slice()
    damage(image.device, link(field), verb, true)
    const { findings } = image.check()
    assert.ok(findings.has('symlink.block'), field)
    assert.ok(
      findings.list.some(({ facts }) => String(facts['reason']).includes(reason)),
      JSON.stringify(findings.list),
    )
    image.bytes.set(before)
  }
})

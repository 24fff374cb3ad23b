import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { overlay } from '../../src/device/overlay.ts'
import { record } from '../../src/device/record.ts'
import { XfsError } from '../../src/errors.ts'
import { logItems } from '../../src/format/logitems.ts'
import type { Field, Struct } from '../../src/format/struct.ts'
import { logState } from '../../src/log/ring.ts'
import { recover } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
import { cases, intentImage } from './intentcases.ts'

/**
 * Intents with a wrong value in each field in turn: recovered, or refused, and then the log is still
 * dirty. An intent that the kernel rejects by itself changes no byte.
 */
const VALUES = [0, 1, 2, 0xff, 2 ** 31, 2 ** 32 - 1]

/** The fields of the first region, with their places. */
function* fieldsOf(
  kind: keyof typeof logItems,
  region: Uint8Array,
): Generator<{ name: string; field: Field<unknown>; at: number }> {
  const row = logItems[kind]
  if (!row) return
  const { format, extent } = row
  const list = ({ little }: { readonly little: Struct }): readonly Field<unknown>[] =>
    little.list as readonly Field<unknown>[]
  for (const field of list(format)) yield { name: field.name, field, at: 0 }
  if (!extent) return
  for (let at = format.size, i = 0; at + extent.size <= region.length && i < 2; at += extent.size, i++)
    for (const field of list(extent)) yield { name: `extent ${i}: ${field.name}`, field, at }
}

/** Change the place of a field, in its byte order, to a value. */
function put(region: Uint8Array, { offset, size }: Field<unknown>, at: number, value: number): boolean {
  const old = region.slice(at + offset, at + offset + size)
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size && i < 4; i++) bytes[i] = Math.floor(value / 256 ** i) % 256
  // The last value sets all bits.
  if (value === 2 ** 32 - 1) bytes.fill(0xff)
  region.set(bytes, at + offset)
  return old.some((byte, i) => byte !== bytes[i])
}

const NAMES = [
  'EFI: blocks of a file', 'RUI unmap, and EFI', 'CUI decrease: blocks are freed', 'BUI map', 'ATTRI set',
  'ATTRI of parent pointers: replace', 'XMI: only written blocks',
] as const // biome-ignore format: short

for (const name of NAMES) {
  test(`${name}: each field wrong`, () => {
    assert.ok(cases[name])
    const [first] = intentImage(name).intents
    assert.ok(first)
    const count = { recovered: 0, contradicting: 0, invalid: 0 }
    for (const { name: what, field, at } of fieldsOf(first.kind, first.regions[0] as Uint8Array)) {
      if (what === 'type' || what === 'size') continue
      for (const value of VALUES) {
        let changed = true
        const { device } = intentImage(name, {}, ([one]) => {
          changed = put(one?.regions[0] as Uint8Array, field, at, value)
        })
        if (changed) count[tried(device, `${what} = ${value}`)]++
      }
    }
    assert.ok(count.invalid > 5, JSON.stringify(count))
  })
}

/** `invalid`: refused, and no byte changed; `contradicting`: refused, and the log is still dirty. */
function tried(device: Device, label: string): 'recovered' | 'contradicting' | 'invalid' {
  const recorder = record(overlay(device))
  try {
    recover(recorder)
  } catch (error) {
    assert.ok(error instanceof XfsError, `${label}: ${String(error instanceof Error ? error.stack : error)}`)
    assert.equal(error.code, 'DIRTYLOG', label)
    assert.equal(logState(Volume.open(recorder)).clean, false, label)
    return recorder.events.some(({ kind }) => kind !== 'flush') ? 'contradicting' : 'invalid'
  }
  assert.equal(logState(Volume.open(recorder)).clean, true, label)
  return 'recovered'
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { escapeBytes, escapeText, unescapeBytes } from '../../src/util/escape.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

test('names as text', () => {
  assert.equal(escapeBytes(bytes('plain name.txt')), 'plain name.txt')
  assert.equal(escapeBytes(new TextEncoder().encode('größe 文件 🗂')), 'größe 文件 🗂')
  assert.equal(escapeBytes(bytes('a\xffb')), 'a\\xffb')
  assert.equal(escapeBytes(bytes('a\nb\x1b[31m\x7f')), 'a\\x0ab\\x1b[31m\\x7f')
  assert.equal(escapeBytes(bytes('back\\slash')), 'back\\slash')
  assert.equal(escapeBytes(bytes('\\x41')), '\\x5cx41')
  assert.equal(escapeText('\u202egnp.exe\u0085'), '\\xe2\\x80\\xaegnp.exe\\xc2\\x85')
  assert.equal(escapeBytes(bytes('\xed\xa0\x80')), '\\xed\\xa0\\x80') // a surrogate is not UTF-8
  assert.equal(escapeBytes(bytes('\xc0\xaf')), '\\xc0\\xaf') // nor is an overlong form
})

test('any bytes come back as they were, and no control character is shown', () => {
  const chunk = fc.oneof(
    fc.uint8Array({ maxLength: 6 }),
    fc
      .constantFrom('\\', '\\x', '\\x4', '\\x41', 'x41', 'ü', '\u202e', '\\xff')
      .map((text) => new TextEncoder().encode(text)),
  )
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 8 }), (chunks) => {
      const name = new Uint8Array(chunks.flatMap((part) => [...part]))
      const text = escapeBytes(name)
      assert.deepEqual(unescapeBytes(text), name)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the test looks for them
      assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/)
    }),
    { numRuns: 2000 },
  )
})

import { escapeBytes } from './escape.ts'
import { digits } from './numbers.ts'

/** The forms of values in JSON. */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A name or path: as text, and in base64 where it is not UTF-8 (the text has `\xHH` there).
 * @param key  of the text; that of the bytes is `KEYBase64`
 */
export function named<Key extends string>(key: Key, bytes: Uint8Array): Readonly<Record<string, string>> {
  try {
    return { [key]: strict.decode(bytes) }
  } catch {
    return { [key]: escapeBytes(bytes), [`${key}Base64`]: Buffer.from(bytes).toString('base64') }
  }
}

/**
 * JSON of values that are not plain: integers above 2^53 as text, bytes and masks as hexadecimal.
 * For `JSON.stringify`.
 */
export function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value) ? digits(value) : value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return value
}

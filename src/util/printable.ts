import { XfsError } from '../errors.ts'
import { escapeBytes } from './escape.ts'

/** Names and paths, which are bytes, as text for messages. */

const encoder = new TextEncoder()

/** A path as bytes. @throws XfsError INVAL for anything else, as an inode number */
export function pathBytes(path: string | Uint8Array): Uint8Array {
  if (typeof path === 'string') return encoder.encode(path)
  // Not by `instanceof`: bytes of another realm (a frame, a context of node:vm) are bytes, too.
  if (ArrayBuffer.isView(path)) return path
  throw new XfsError('INVAL', 'a path is a string, or bytes')
}

/** A path or name for a message. */
export const printable = (path: string | Uint8Array): string => escapeBytes(pathBytes(path))

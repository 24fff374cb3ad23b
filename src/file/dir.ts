export { type Entry, entries, lookup, parentOf } from './dir-read.ts'

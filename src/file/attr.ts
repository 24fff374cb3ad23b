export { type Attribute, type AttrKey, attributes, findAttr } from './attr-read.ts'

export default function tick (): Date {
  return new Date()
}

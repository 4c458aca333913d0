/* The differentiated system description of the i440FX board. What depends on the machine stands in
 * the names at the top, whose values devices/acpi_tables.c replaces: they must stay wide enough for
 * a DWordConst. SeaBIOS reads this table too, with a parser that knows names, scopes, devices and
 * methods but neither externals nor 64-bit constants outside methods. ACPI specification 6.4.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "TNM", "TNMDSDT", 1)
{
    Name (NCPU, 0x7FFFFFFF)             // CPUs, 1 to 8
    Name (PM32, 0x7FFFFFFF)             // first address of the PCI window under 4 GiB
    Name (PL32, 0x7FFFFFFF)             // its length; it ends before the I/O APIC
    Name (PM64, 0x7FFFFFFF)             // the window above RAM, in GiB
    Name (PL64, 0x7FFFFFFF)             // its length; 0: none

    Name (PICM, Zero)
    Method (_PIC, 1)                    // the operating system says: 0 8259, 1 I/O APIC
    {
        PICM = Arg0
    }

    Name (_S5, Package () { Zero, Zero, Zero, Zero })

    /* General purpose event 5: the machine has become another one. */
    Scope (\_GPE)
    {
        Method (_E05)
        {
            Notify (\_SB.VGEN, 0x80)
        }
    }

    Scope (\_SB)
    {
        /* Microsoft, "Virtual Machine Generation ID": devices/vmgenid.h. */
        Device (VGEN)
        {
            Name (_HID, "TNM0001")
            Name (_CID, "VM_Gen_Counter")
            Name (_DDN, "VM_Gen_Counter")
            Name (ADDR, Package () { 0xFEDC0000, Zero })
        }

        /* A processor is there when its number is one of the machine's. */
        Method (CSTA, 1)
        {
            If (Arg0 < \NCPU)
            {
                Return (0x0F)
            }
            Return (Zero)
        }
        Device (CPU0)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 0)
            Method (_STA) { Return (CSTA (0)) }
        }
        Device (CPU1)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 1)
            Method (_STA) { Return (CSTA (1)) }
        }
        Device (CPU2)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 2)
            Method (_STA) { Return (CSTA (2)) }
        }
        Device (CPU3)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 3)
            Method (_STA) { Return (CSTA (3)) }
        }
        Device (CPU4)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 4)
            Method (_STA) { Return (CSTA (4)) }
        }
        Device (CPU5)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 5)
            Method (_STA) { Return (CSTA (5)) }
        }
        Device (CPU6)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 6)
            Method (_STA) { Return (CSTA (6)) }
        }
        Device (CPU7)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 7)
            Method (_STA) { Return (CSTA (7)) }
        }

        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, Zero)

            Name (CRES, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0x0000, 0x00FF, 0, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0xE0000000, 0xFEBFFFFF, 0, 0x1EC00000, , , PW32)
            })
            Name (CR64, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x8000000000, 0xFFFFFFFFFF, 0, 0x8000000000, , , PW64)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (CRES, ^PW32._MIN, MN32)
                CreateDWordField (CRES, ^PW32._MAX, MX32)
                CreateDWordField (CRES, ^PW32._LEN, LN32)
                MN32 = \PM32
                LN32 = \PL32
                MX32 = (\PM32 + \PL32 - 1)
                If (\PL64 == Zero)
                {
                    Return (CRES)
                }
                CreateQWordField (CR64, ^PW64._MIN, MN64)
                CreateQWordField (CR64, ^PW64._MAX, MX64)
                CreateQWordField (CR64, ^PW64._LEN, LN64)
                MN64 = (\PM64 << 30)
                LN64 = (\PL64 << 30)
                MX64 = (((\PM64 + \PL64) << 30) - 1)
                Return (ConcatenateResTemplate (CRES, CR64))
            }

            /* Slot s, pin p is on PIRQ (s + p - 1) & 3, as piix3_map_pin in devices/piix.c wires
             * it. With the 8259 a PIRQ is steered by its link device, with the I/O APIC it has pin
             * 16 and up. Pin A of slot 1 is the power management function's: always the SCI.
             */
            Method (_PRT, 0, Serialized)
            {
                Local0 = Package (128) {}
                Local1 = Zero
                While (Local1 < 128)
                {
                    Local2 = (Local1 >> 2)              // slot
                    Local3 = (Local1 & 3)               // pin
                    Local4 = ((Local2 + Local3 + 3) & 3)
                    If (Local1 == 4)
                    {
                        Local5 = Package (4) { Zero, Zero, \_SB.LNKS, Zero }
                    }
                    ElseIf (PICM)
                    {
                        Local5 = Package (4) { Zero, Zero, Zero, Zero }
                        Local5[3] = (Local4 + 16)
                    }
                    ElseIf (Local4 == 0)
                    {
                        Local5 = Package (4) { Zero, Zero, \_SB.LNKA, Zero }
                    }
                    ElseIf (Local4 == 1)
                    {
                        Local5 = Package (4) { Zero, Zero, \_SB.LNKB, Zero }
                    }
                    ElseIf (Local4 == 2)
                    {
                        Local5 = Package (4) { Zero, Zero, \_SB.LNKC, Zero }
                    }
                    Else
                    {
                        Local5 = Package (4) { Zero, Zero, \_SB.LNKD, Zero }
                    }
                    Local5[0] = ((Local2 << 16) | 0xFFFF)
                    Local5[1] = Local3
                    Local0[Local1] = Local5
                    Local1++
                }
                Return (Local0)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (P40C, PCI_Config, 0x60, 0x04)
                Field (P40C, ByteAcc, NoLock, Preserve)
                {
                    PRQ0, 8, PRQ1, 8, PRQ2, 8, PRQ3, 8
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0070, 0x0070, 0x01, 0x08)
                        IRQNoFlags () { 8 }
                    })
                }
                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_STA, 0x0F)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
                        IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
                        IRQNoFlags () { 1 }
                    })
                }
                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Name (_STA, 0x0F)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IRQNoFlags () { 12 }
                    })
                }
                Device (FDC0)
                {
                    Name (_HID, EisaId ("PNP0700"))
                    Name (_STA, 0x0F)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F2, 0x03F2, 0x00, 0x04)
                        IO (Decode16, 0x03F7, 0x03F7, 0x00, 0x01)
                        IRQNoFlags () { 6 }
                        DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
                    })
                }
                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Name (_STA, 0x0F)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F8, 0x03F8, 0x00, 0x08)
                        IRQNoFlags () { 4 }
                    })
                }
                Device (COM2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 2)
                    Name (_STA, 0x0F)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02F8, 0x02F8, 0x00, 0x08)
                        IRQNoFlags () { 3 }
                    })
                }
            }
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, Zero)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400)
            })
        }

        /* Interrupt links: PIRQA to PIRQD, registers 60h to 63h of the ISA bridge. */
        Field (PCI0.ISA.P40C, ByteAcc, NoLock, Preserve)
        {
            PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8
        }
        Name (PRSS, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
        })
        Method (LSTA, 1)
        {
            If (Arg0 & 0x80)
            {
                Return (0x09)
            }
            Return (0x0B)
        }
        Name (BUF0, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, , , INTR) { 0 }
        })
        Method (LCRS, 1, Serialized)
        {
            CreateDWordField (BUF0, ^INTR._INT, IRQW)
            If (!(Arg0 & 0x80))
            {
                IRQW = Arg0
            }
            Return (BUF0)
        }
        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0)
            Method (_STA) { Return (LSTA (PRQA)) }
            Method (_PRS) { Return (PRSS) }
            Method (_DIS) { PRQA |= 0x80 }
            Method (_CRS) { Return (LCRS (PRQA)) }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, PRRI)
                PRQA = PRRI
            }
        }
        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Method (_STA) { Return (LSTA (PRQB)) }
            Method (_PRS) { Return (PRSS) }
            Method (_DIS) { PRQB |= 0x80 }
            Method (_CRS) { Return (LCRS (PRQB)) }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, PRRI)
                PRQB = PRRI
            }
        }
        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Method (_STA) { Return (LSTA (PRQC)) }
            Method (_PRS) { Return (PRSS) }
            Method (_DIS) { PRQC |= 0x80 }
            Method (_CRS) { Return (LCRS (PRQC)) }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, PRRI)
                PRQC = PRRI
            }
        }
        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Method (_STA) { Return (LSTA (PRQD)) }
            Method (_PRS) { Return (PRSS) }
            Method (_DIS) { PRQD |= 0x80 }
            Method (_CRS) { Return (LCRS (PRQD)) }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, PRRI)
                PRQD = PRRI
            }
        }

        Device (LNKS)                   // the SCI, hardwired
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (RESS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 9 }
            })
            Method (_STA) { Return (0x0B) }
            Method (_PRS) { Return (RESS) }
            Method (_DIS) {}
            Method (_CRS) { Return (RESS) }
            Method (_SRS, 1) {}
        }
    }
}

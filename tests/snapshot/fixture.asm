; The firmware of the snapshots that are kept as fixtures (fixtures/): 64 KiB that count in a way that can
; be checked at any moment, by a program and by a timer's interrupts. make_fixture.c uses it.
;
;   500h  dword n, 508h  dword sum of i * 2654435761 for i = 1..n, 510h  dword timer interrupts
;   600h  1024 dwords: the last i that met each place (i mod 1024)

        bits 16
        org 0

start:
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 7000h
        mov word [8 * 4], tick
        mov word [8 * 4 + 2], 0f000h
        mov al, 11h             ; both 8259: edge, cascade; vectors 8 and 70h
        out 20h, al
        out 0a0h, al
        mov al, 8
        out 21h, al
        mov al, 70h
        out 0a1h, al
        mov al, 4
        out 21h, al
        mov al, 2
        out 0a1h, al
        mov al, 1
        out 21h, al
        out 0a1h, al
        mov al, 0feh            ; the timer only
        out 21h, al
        mov al, 0ffh
        out 0a1h, al
        mov al, 34h             ; channel 0: rate generator, 1193 Hz or so
        out 43h, al
        mov ax, 1000
        out 40h, al
        mov al, ah
        out 40h, al
        sti
next:
        mov eax, [500h]
        inc eax
        mov ebx, eax
        and bx, 1023
        shl bx, 2
        mov [600h + bx], eax
        imul ecx, eax, 2654435761
        cli                     ; the two change together
        mov [500h], eax
        add [508h], ecx
        sti
        jmp next

tick:
        push ax
        inc dword [510h]
        mov al, 20h
        out 20h, al
        pop ax
        iret

        times 0fff0h - ($ - $$) db 0ffh
        jmp 0f000h:start
        times 10000h - ($ - $$) db 0
